-- Typed records and decisions. The raw functions give JSON of the value and of what is known about it. The planner
-- computes the types from the constant that describes them, and from_json casts to these. The
-- coalesce of it changes nothing, but has no type before a macro is called: DuckDB then checks it only in a call. The JSON
-- null has the type of the record, where a NULL that the planner knows would have none.

CREATE OR REPLACE TEMP MACRO _leeroo_record(name, "text", fields, {records.names}) AS
    from_json(
        coalesce(
            _leeroo_records_{id}("text"::VARCHAR, to_json(fields)::VARCHAR, {records.casts}, _leeroo_plan(name))."json", 'null'
        ),
        _leeroo_structure_{id}(name, 'record', to_json(coalesce(fields, NULL))::VARCHAR)
    );

CREATE OR REPLACE TEMP MACRO leeroo_record("text", fields, {records.defaults}) AS
    _leeroo_record('leeroo_record', "text", fields, {records.names})."value";

CREATE OR REPLACE TEMP MACRO leeroo_recorded("text", fields, {records.defaults}) AS
    _leeroo_record('leeroo_recorded', "text", fields, {records.names});

CREATE OR REPLACE TEMP MACRO _leeroo_decide(name, "text", questions, {decisions.names}) AS
    from_json(
        coalesce(
            _leeroo_decisions_{id}("text"::VARCHAR, to_json(questions)::VARCHAR, {decisions.casts}, _leeroo_plan(name))."json", 'null'
        ),
        _leeroo_structure_{id}(name, 'decisions', to_json(coalesce(questions, NULL))::VARCHAR)
    );

CREATE OR REPLACE TEMP MACRO leeroo_decide("text", questions, {decisions.defaults}) AS
    _leeroo_decide('leeroo_decide', "text", questions, {decisions.names})."value";

CREATE OR REPLACE TEMP MACRO leeroo_decided("text", questions, {decisions.defaults}) AS
    _leeroo_decide('leeroo_decided', "text", questions, {decisions.names});
