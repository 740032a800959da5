-- Answers of a given form: one of some choices, one of some labels, JSON that is valid under a schema. Labels and JSON
-- have two functions each: one returns the value alone, the other a struct that says why there is none.

CREATE OR REPLACE TEMP MACRO leeroo_choice(question, choices, {choices.defaults}) AS
    _leeroo_choices_{id}(question::VARCHAR, choices::VARCHAR[], {choices.casts}, _leeroo_plan('leeroo_choice'));

CREATE OR REPLACE TEMP MACRO _leeroo_label(name, "text", labels, {labels.names}) AS
    _leeroo_labels_{id}("text"::VARCHAR, labels::VARCHAR[], {labels.casts}, _leeroo_plan(name));

CREATE OR REPLACE TEMP MACRO leeroo_label("text", labels, {labels.defaults}) AS
    _leeroo_label('leeroo_label', "text", labels, {labels.names}).label;

CREATE OR REPLACE TEMP MACRO leeroo_labelled("text", labels, {labels.defaults}) AS
    _leeroo_label('leeroo_labelled', "text", labels, {labels.names});

CREATE OR REPLACE TEMP MACRO _leeroo_extract(name, "text", json_schema, {extracts.names}) AS
    _leeroo_extracts_{id}("text"::VARCHAR, json_schema::VARCHAR, {extracts.casts}, _leeroo_plan(name));

CREATE OR REPLACE TEMP MACRO leeroo_extract("text", json_schema, {extracts.defaults}) AS
    TRY_CAST(_leeroo_extract('leeroo_extract', "text", json_schema, {extracts.names})."value" AS JSON);

CREATE OR REPLACE TEMP MACRO leeroo_extracted("text", json_schema, {extracts.defaults}) AS
    TRY_CAST(
        _leeroo_extract('leeroo_extracted', "text", json_schema, {extracts.names})
        AS STRUCT("value" JSON, expert VARCHAR, cost_usd DOUBLE, error VARCHAR)
    );
