{{ config(materialized='table') }}
SELECT subject, count(*) AS questions, count(answer) AS answered, sum(list_cost_usd) AS usd
FROM {{ ref('answered') }}
GROUP BY subject
ORDER BY subject
