-- What the orchestrator expects and would choose; nothing is generated.

CREATE OR REPLACE TEMP MACRO leeroo_route(question, private := false) AS
    _leeroo_routes_{id}(question::VARCHAR, private::BOOLEAN, _leeroo_plan('leeroo_route'));

CREATE OR REPLACE TEMP MACRO leeroo_scores(question) AS
    _leeroo_scores_{id}(question::VARCHAR, _leeroo_plan('leeroo_scores'));
