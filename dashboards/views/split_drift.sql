-- dashboards/views/split_drift.sql
-- One row a split and figure: how far its mix of classes, or of box sizes, is from that of the largest split, as
-- population stability index. `psi_of_chance` is what random splits of as many images rarely exceed: under no drift
-- psi / (1 / n + 1 / m) is about chi-squared with bins - 1 degrees of freedom (Yurdakul 2018), here + 3 sigma; n and m
-- count images, since boxes of one image are no independent draws. Sizes are octaves of the side of an equal square.
WITH boxes AS (
  SELECT
    a.dataset, i.split, a.image_id, a.category_id,
    floor(log2(sqrt(get(a.bbox, 2) * get(a.bbox, 3)))) AS octave
  FROM annotations AS a
  JOIN images AS i ON i.dataset = a.dataset AND i.image_id = a.image_id
  WHERE i.split IS NOT NULL AND get(a.bbox, 2) > 0 AND get(a.bbox, 3) > 0 AND coalesce(a.iscrowd, 0) = 0
),
sizes AS (SELECT dataset, split, count(DISTINCT image_id) AS images FROM boxes GROUP BY dataset, split),
largest AS (
  SELECT dataset, max_by(split, struct(images, split)) AS reference, max(images) AS reference_images
  FROM sizes
  GROUP BY dataset
),
counts AS (
  SELECT dataset, split, figure, bin, count(*) AS num
  FROM boxes
  LATERAL VIEW explode(map('class mix', category_id, 'box size', octave)) exploded AS figure, bin
  GROUP BY dataset, split, figure, bin
),
shares AS (
  SELECT
    s.dataset, s.split, s.images, b.figure, b.bin,
    greatest(coalesce(c.num, 0) / sum(c.num) OVER (PARTITION BY s.dataset, s.split, b.figure), 1e-4) AS share
  FROM sizes AS s
  JOIN (SELECT DISTINCT dataset, figure, bin FROM counts) AS b ON b.dataset = s.dataset
  LEFT JOIN counts AS c
    ON c.dataset = s.dataset AND c.split = s.split AND c.figure = b.figure AND c.bin = b.bin
)
SELECT
  s.dataset, s.split, s.figure, l.reference, s.images, l.reference_images,
  count(*) AS bins,
  sum((s.share - r.share) * ln(s.share / r.share)) AS psi,
  (count(*) - 1 + 3 * sqrt(2 * (count(*) - 1))) * (1 / s.images + 1 / l.reference_images) AS psi_of_chance
FROM shares AS s
JOIN largest AS l ON l.dataset = s.dataset AND l.reference <> s.split
JOIN shares AS r ON r.dataset = s.dataset AND r.split = l.reference AND r.figure = s.figure AND r.bin = s.bin
GROUP BY s.dataset, s.split, s.figure, l.reference, s.images, l.reference_images
