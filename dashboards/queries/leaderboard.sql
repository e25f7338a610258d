SELECT
  dataset, split, model_name, model_version, round(ap, 4) AS ap, round(ap50, 4) AS ap50, round(ap75, 4) AS ap75,
  round(ar100, 4) AS ar100, annotations_version, predictions_version, evaluated_at, run_id
FROM model_leaderboard
ORDER BY dataset, split, ap DESC
