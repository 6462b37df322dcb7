(function () {
  var root = document.documentElement, of = function (id) { return document.getElementById(id); };
  function say(id, text) { var at = of(id); if (at.textContent !== text) at.textContent = text; }
  function seconds(value) {
    if (value < 60) return value.toFixed(1) + " s";
    var whole = Math.round(value), rest = whole % 60;
    return (whole - rest) / 60 + " min " + (rest < 10 ? "0" : "") + rest + " s";
  }
  function left(drill) {
    if (drill.outcome) return "";
    if (drill.left_s === null) return "How long is unknown: it never passed here.";
    return drill.left_s < 1 ? "It takes longer than the last time." : "About " + seconds(Math.round(drill.left_s)).replace(".0", "") + " left.";
  }
  function rows(drill) {
    var body = document.createDocumentFragment();
    drill.rows.forEach(function (one) {
      var line = document.createElement("tr"), head = document.createElement("th");
      head.scope = "row"; head.textContent = one.store; line.append(head);
      [one.by_store, one.by_outbox, one.waiting].forEach(function (count) {
        var cell = document.createElement("td");
        cell.className = "n"; cell.textContent = count.toLocaleString("en"); line.append(cell);
      });
      var where = document.createElement("td");
      where.textContent = drill.outcome ? "nowhere: it is over" : one.writing; line.append(where);
      body.append(line);
    });
    of("live-rows").replaceChildren(body);
  }
  function show(drill) {
    of("drill").hidden = drill === null;
    if (drill === null) return;
    say("live", drill.outcome ? "The drill is over" : "A drill runs");
    say("live-what", drill.scenario + ": " + drill.summary);
    var good = drill.outcome === "passed" || drill.outcome === "twin held";
    of("live-phase").className = "phase" + (drill.outcome ? good ? " good" : " bad" : "");
    say("live-phase", drill.outcome ? [(good ? "✓ " : "✗ ") + drill.outcome].concat(drill.reasons).join(": ") : drill.phase);
    if (drill.share === null) of("live-bar").removeAttribute("value"); else of("live-bar").value = drill.share;
    say("live-left", left(drill));
    say("live-fault", drill.since_fault_s === null ? "not yet" : seconds(drill.since_fault_s));
    say("live-elapsed", seconds(drill.elapsed_s));
    say("live-step", drill.step || "none now");
    rows(drill);
    of("live-before").hidden = drill.outcome !== "";
    say("live-says", drill.outcome ? "Its report: " + drill.report : drill.says);
  }
  function within(selector) { return Array.from(of("board").querySelectorAll(selector)); }
  function place(fresh) {
    var opened = within("details").map(function (one) { return one.open; }), reached = "summary, a[href], [tabindex]";
    var focused = within(reached).indexOf(document.activeElement);
    ["when", "verdict", "board"].forEach(function (id) { of(id).replaceWith(document.importNode(fresh.getElementById(id), true)); });
    within("details").forEach(function (one, nr) { one.open = opened[nr] || false; });
    if (focused >= 0 && within(reached)[focused]) within(reached)[focused].focus({ preventScroll: true });
  }
  function renew() {
    fetch("/").then(function (answer) { return answer.text(); }).then(function (text) {
      var fresh = new DOMParser().parseFromString(text, "text/html");
      ["made", "stale", "title"].forEach(function (name) { root.dataset[name] = fresh.documentElement.dataset[name]; });
      document.title = fresh.title;
      place(fresh);
      window.look();
    }).catch(function () { /* the server has gone, which the stream of events tells */ });
  }
  var heard = new EventSource("/events");
  heard.addEventListener("open", function () { of("lost").hidden = true; });
  heard.addEventListener("error", function () { of("lost").hidden = false; });
  heard.addEventListener("drill", function (event) { show(JSON.parse(event.data)); });
  heard.addEventListener("page", function (event) { if (event.data !== root.dataset.made) renew(); });
})();
