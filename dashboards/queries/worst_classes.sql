SELECT dataset, split, model_name, model_version, category_name, round(ap, 4) AS ap, evaluated_at, run_id
FROM category_ap
WHERE ap IS NOT NULL
QUALIFY row_number() OVER (PARTITION BY dataset, split, model_name, model_version ORDER BY evaluated_at DESC, ap) <= 20
ORDER BY ap
