-- Answers of a given form: one of some choices, one of some labels, JSON that is valid under a schema. Of labels and
-- JSON there are two functions each: the value alone, and a struct that says why there is none.

CREATE OR REPLACE TEMP MACRO leeroo_choice(question, choices, expert := NULL, "system" := NULL, private := false) AS
    _leeroo_choices_{id}(
        question::VARCHAR, choices::VARCHAR[], expert::VARCHAR, "system"::VARCHAR, private::BOOLEAN,
        _leeroo_plan('leeroo_choice')
    );

CREATE OR REPLACE TEMP MACRO _leeroo_label(name, "text", labels, expert, "system", private) AS
    _leeroo_labels_{id}(
        "text"::VARCHAR, labels::VARCHAR[], expert::VARCHAR, "system"::VARCHAR, private::BOOLEAN, _leeroo_plan(name)
    );

CREATE OR REPLACE TEMP MACRO leeroo_label("text", labels, expert := NULL, "system" := NULL, private := false) AS
    _leeroo_label('leeroo_label', "text", labels, expert, "system", private).label;

CREATE OR REPLACE TEMP MACRO leeroo_labelled("text", labels, expert := NULL, "system" := NULL, private := false) AS
    _leeroo_label('leeroo_labelled', "text", labels, expert, "system", private);

CREATE OR REPLACE TEMP MACRO _leeroo_extract(name, "text", json_schema, expert, "system", private, max_tokens) AS
    _leeroo_extracts_{id}(
        "text"::VARCHAR, json_schema::VARCHAR, expert::VARCHAR, "system"::VARCHAR, private::BOOLEAN,
        max_tokens::BIGINT, _leeroo_plan(name)
    );

CREATE OR REPLACE TEMP MACRO leeroo_extract
("text", json_schema, expert := NULL, "system" := NULL, max_tokens := NULL, private := false) AS
    TRY_CAST(
        _leeroo_extract('leeroo_extract', "text", json_schema, expert, "system", private, max_tokens)."value" AS JSON
    );

CREATE OR REPLACE TEMP MACRO leeroo_extracted
("text", json_schema, expert := NULL, "system" := NULL, max_tokens := NULL, private := false) AS
    TRY_CAST(
        _leeroo_extract('leeroo_extracted', "text", json_schema, expert, "system", private, max_tokens)
        AS STRUCT("value" JSON, expert VARCHAR, cost_usd DOUBLE, error VARCHAR)
    );
