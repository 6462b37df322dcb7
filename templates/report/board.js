(function () {
  var root = document.documentElement;
  function look() {
    var madeAt = Date.parse(root.dataset.made), staleAt = Date.parse(root.dataset.stale);
    var now = Date.now(), old = now > staleAt, ahead = now < madeAt - 300000;
    root.classList.toggle("stale", old || ahead);
    var minutes = Math.round(Math.abs(now - madeAt) / 60000);
    var ago = minutes < 120 ? minutes + " min" : minutes < 2880 ? Math.round(minutes / 60) + " h" : Math.round(minutes / 1440) + " days";
    document.getElementById("old-says").textContent = ahead
      ? "It is dated " + ago + " ahead of this clock: one of the two clocks is wrong, and nobody can tell how old it is."
      : "It is " + ago + " old and counts no more: what it says may have changed. Make it anew, and find out why nothing did.";
    if (old || ahead) document.title = "Out of date: " + root.dataset.title;
  }
  window.look = look;
  look();
  setInterval(look, 15000);
})();
