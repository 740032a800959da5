-- Operations on whole tables, given by name. Each reads its tables once, hands the different texts of their rows to a
-- raw function as one list, and joins what that finds with the rows. Experts see the columns that a prompt names.

CREATE OR REPLACE TEMP MACRO leeroo_join
("left", "right", prompt, k := NULL, sample := NULL, threshold := NULL, model := NULL, {searches.defaults}) AS TABLE
    WITH _leeroo_left AS MATERIALIZED (
        SELECT _leeroo_row AS l, _leeroo_side_{id}('l', to_json(_leeroo_row)::VARCHAR, prompt::VARCHAR) AS key
        FROM query_table("left") AS _leeroo_row
    ), _leeroo_right AS MATERIALIZED (
        SELECT _leeroo_row AS r, _leeroo_side_{id}('r', to_json(_leeroo_row)::VARCHAR, prompt::VARCHAR) AS key
        FROM query_table("right") AS _leeroo_row
    ), _leeroo_found AS (
        SELECT unnest(_leeroo_joins_{id}(
            (SELECT list(DISTINCT key) FILTER (key IS NOT NULL) FROM _leeroo_left),
            (SELECT list(DISTINCT key) FILTER (key IS NOT NULL) FROM _leeroo_right),
            prompt::VARCHAR, k::BIGINT, sample::DOUBLE, threshold::DOUBLE, model::VARCHAR, {searches.casts},
            _leeroo_plan('leeroo_join')
        )) AS pair
    )
    SELECT l, r, pair.confidence, pair.similarity, pair.expert, pair.cost_usd, pair.recall
    FROM _leeroo_found
    JOIN _leeroo_left ON _leeroo_left.key = pair."left"
    JOIN _leeroo_right ON _leeroo_right.key = pair."right";

CREATE OR REPLACE TEMP MACRO leeroo_dedupe
("table", "column", prompt := NULL, k := NULL, similarity := NULL, threshold := NULL, model := NULL, {searches.defaults}) AS TABLE
    WITH _leeroo_all AS MATERIALIZED (
        SELECT _leeroo_row, to_json(_leeroo_row)::VARCHAR AS _leeroo_json,
            _leeroo_shown_{id}('leeroo_dedupe', to_json(_leeroo_row)::VARCHAR, "column"::VARCHAR) AS key
        FROM query_table("table") AS _leeroo_row
    ), _leeroo_found AS (
        SELECT unnest(_leeroo_dedupes_{id}(
            (SELECT list(DISTINCT key) FILTER (key IS NOT NULL) FROM _leeroo_all),
            prompt::VARCHAR, k::BIGINT, similarity::DOUBLE, threshold::DOUBLE, model::VARCHAR,
            {searches.casts},
            _leeroo_plan('leeroo_dedupe')
        )) AS same
    )
    SELECT unnest(_leeroo_row), same.number AS group_id,
        same.number IS NULL OR row_number() OVER (
            PARTITION BY same.number ORDER BY key = same."right" DESC, _leeroo_json
        ) = 1 AS representative
    FROM _leeroo_all LEFT JOIN _leeroo_found ON key = same."left";

CREATE OR REPLACE TEMP MACRO leeroo_top_k
("table", criterion, k := 5, "column" := NULL, "group" := NULL, {searches.defaults}) AS TABLE
    WITH _leeroo_all AS MATERIALIZED (
        SELECT _leeroo_row, to_json(_leeroo_row)::VARCHAR AS _leeroo_json,
            _leeroo_shown_{id}('leeroo_top_k', to_json(_leeroo_row)::VARCHAR, "column"::VARCHAR) AS key
        FROM query_table("table") AS _leeroo_row
    ), _leeroo_found AS (
        SELECT unnest(_leeroo_ranks_{id}(
            (SELECT list(DISTINCT key) FILTER (key IS NOT NULL) FROM _leeroo_all),
            criterion::VARCHAR, k::BIGINT, "group"::BIGINT, {searches.casts}, _leeroo_plan('leeroo_top_k')
        )) AS best
    )
    SELECT unnest(_leeroo_row), best.number AS rank, best.confidence, best.expert
    FROM _leeroo_found JOIN _leeroo_all ON key = best."left"
    QUALIFY row_number() OVER (ORDER BY best.number, _leeroo_json) <= k
    ORDER BY best.number, _leeroo_json;
