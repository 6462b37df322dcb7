-- F6: eight years of days, each a chunk, in a table of the catalogue: whoever counts it locks every one and its indexes.
SELECT format($$INSERT INTO public.order_records (event_id, order_id, order_time, account_id, symbol, side, order_type, quantity, status)
  SELECT 1000000 + %1$s + i, 'tor' || i, timestamptz '2011-01-01 12:00:00Z' + (%1$s + i) * interval '1 day', 'tor', 'TOR', 'buy', 'limit', 1, 'new'
  FROM generate_series(1, 50) i$$, part * 50) FROM generate_series(0, 59) part \gexec
--# clean
SELECT format($$SELECT count(*) FROM drop_chunks('public.order_records', older_than => timestamptz '2011-01-02 00:00:00Z' + %s * interval '1 day')$$, part * 50)
  FROM generate_series(1, 61) part \gexec
