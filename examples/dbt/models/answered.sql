{{ config(materialized='incremental', unique_key='id') }}
-- One batch under the budget of profiles.yml. Only new questions, and those that failed, are sent.
SELECT id, subject, question, a.answer, a.expert, a.list_cost_usd, a.error
FROM (
    SELECT *, leeroo(question) AS a
    FROM read_parquet('../questions.parquet')
    {% if is_incremental() %} WHERE id NOT IN (SELECT id FROM {{ this }} WHERE answer IS NOT NULL) {% endif %}
)
