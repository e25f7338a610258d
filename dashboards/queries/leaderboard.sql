SELECT
  dataset, split, model_name, model_version, round(ap, 4) AS ap, round(ap50, 4) AS ap50, round(ap75, 4) AS ap75,
  round(ar100, 4) AS ar100, round(mask_ap, 4) AS mask_ap, round(accuracy, 4) AS accuracy, annotations_version, predictions_version, evaluated_at, run_id
FROM model_leaderboard
ORDER BY dataset, split, coalesce(mask_ap, ap, accuracy) DESC
