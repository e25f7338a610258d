-- One row a class of each evaluation: its COCO AP (of boxes), the worst first in each evaluation.
SELECT
  e.dataset, e.split, e.model_name, e.model_version, e.category_id, c.name AS category_name,
  e.value AS ap, e.evaluated_at, e.run_id
FROM evaluations AS e
JOIN categories AS c ON c.dataset = e.dataset AND c.category_id = e.category_id
WHERE e.iou_type = 'bbox' AND e.metric = 'AP' AND e.iou = '0.50:0.95' AND e.area_range = 'all'
ORDER BY e.run_id, ap
