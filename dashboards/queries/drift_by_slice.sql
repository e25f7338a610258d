SELECT
  dataset, baseline, model_name, model_version, coalesce(slice_key, 'all images') AS slice_key,
  coalesce(slice_value, '') AS slice_value, images, figures, drifted_figures, most_drifted_figure,
  round(largest_effect, 2) AS largest_effect, computed_at, run_id
FROM drift_status
ORDER BY drifted_figures DESC, slice_key, slice_value
