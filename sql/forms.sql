-- Answers of a given form: one of some choices, one of some labels, JSON that is valid under a schema.

CREATE OR REPLACE TEMP MACRO leeroo_choice(question, choices, expert := NULL, "system" := NULL) AS
    _leeroo_choices_{id}(
        question::VARCHAR, choices::VARCHAR[], expert::VARCHAR, "system"::VARCHAR, _leeroo_plan('leeroo_choice')
    );

CREATE OR REPLACE TEMP MACRO leeroo_label("text", labels, expert := NULL, "system" := NULL) AS
    _leeroo_labels_{id}(
        "text"::VARCHAR, labels::VARCHAR[], expert::VARCHAR, "system"::VARCHAR, _leeroo_plan('leeroo_label')
    ).answer;

CREATE OR REPLACE TEMP MACRO leeroo_extract
("text", json_schema, expert := NULL, "system" := NULL, max_tokens := NULL) AS
    _leeroo_extracts_{id}(
        "text"::VARCHAR, json_schema::VARCHAR, expert::VARCHAR, "system"::VARCHAR, max_tokens::BIGINT,
        _leeroo_plan('leeroo_extract')
    ).answer::JSON;
