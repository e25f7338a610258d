-- One row a class and split: how many boxes on how many images; classes without boxes included.
SELECT
  c.dataset, a.split, c.category_id, c.name AS category_name,
  count(a.annotation_id) AS boxes,
  count(DISTINCT a.image_id) AS images,
  count_if(a.iscrowd = 1) AS crowd_boxes,
  avg(a.area) AS mean_area
FROM categories AS c
LEFT JOIN (
  SELECT n.dataset, n.annotation_id, n.image_id, n.category_id, n.iscrowd, n.area, i.split
  FROM annotations AS n
  JOIN images AS i ON i.dataset = n.dataset AND i.image_id = n.image_id
) AS a ON a.dataset = c.dataset AND a.category_id = c.category_id
GROUP BY c.dataset, a.split, c.category_id, c.name
