-- One row a model version, data set and split: the main numbers of its latest evaluation, best first.
-- AP is of boxes, mask AP of masks, accuracy and F1 of classes of whole images; NULL is what a model does not give.
WITH latest AS (
  SELECT *
  FROM evaluations
  WHERE category_id IS NULL AND iou_type IN ('bbox', 'segm', 'class')
  QUALIFY dense_rank() OVER (
    PARTITION BY model_name, model_version, dataset, split ORDER BY evaluated_at DESC, run_id
  ) = 1
)
SELECT
  dataset, split, model_name, model_version,
  max(value) FILTER (WHERE iou_type = 'bbox' AND metric = 'AP' AND iou = '0.50:0.95' AND area_range = 'all') AS ap,
  max(value) FILTER (WHERE iou_type = 'bbox' AND metric = 'AP' AND iou = '0.50') AS ap50,
  max(value) FILTER (WHERE iou_type = 'bbox' AND metric = 'AP' AND iou = '0.75') AS ap75,
  max(value) FILTER (WHERE iou_type = 'bbox' AND metric = 'AP' AND area_range = 'small') AS ap_small,
  max(value) FILTER (WHERE iou_type = 'bbox' AND metric = 'AP' AND area_range = 'medium') AS ap_medium,
  max(value) FILTER (WHERE iou_type = 'bbox' AND metric = 'AP' AND area_range = 'large') AS ap_large,
  max(value) FILTER (WHERE iou_type = 'bbox' AND metric = 'AR' AND area_range = 'all' AND max_detections = 100) AS ar100,
  max(value) FILTER (WHERE iou_type = 'segm' AND metric = 'AP' AND iou = '0.50:0.95' AND area_range = 'all') AS mask_ap,
  max(value) FILTER (WHERE iou_type = 'segm' AND metric = 'AP' AND iou = '0.50') AS mask_ap50,
  max(value) FILTER (WHERE metric = 'accuracy') AS accuracy,
  max(value) FILTER (WHERE metric = 'F1') AS f1,
  max(table_version) AS annotations_version,
  max(predictions_version) AS predictions_version,
  max(evaluated_at) AS evaluated_at,
  run_id
FROM latest
GROUP BY dataset, split, model_name, model_version, run_id
ORDER BY dataset, split, coalesce(mask_ap, ap, accuracy) DESC
