-- One row a model version, data set and slice: how many figures moved in its latest monitoring run, and which most.
WITH latest AS (
  SELECT *
  FROM vision_drift_metrics
  QUALIFY dense_rank() OVER (
    PARTITION BY model_name, model_version, dataset, baseline ORDER BY computed_at DESC, run_id
  ) = 1
)
SELECT
  model_name, model_version, dataset, baseline, slice_key, slice_value,
  count(*) AS figures,
  count_if(is_drift) AS drifted_figures,
  max_by(metric, effect) FILTER (WHERE is_drift) AS most_drifted_figure,
  max(effect) FILTER (WHERE is_drift) AS largest_effect,
  any_value(n_current) AS images,
  max(computed_at) AS computed_at,
  run_id
FROM latest
GROUP BY model_name, model_version, dataset, baseline, slice_key, slice_value, run_id
