SELECT dataset, split, category_name, boxes, images, round(mean_area, 1) AS mean_area
FROM class_balance
ORDER BY dataset, split, boxes DESC
