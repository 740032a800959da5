-- The orchestrator's predictions and its choice; nothing is generated.

CREATE OR REPLACE TEMP MACRO leeroo_route(question, {routes.defaults}) AS
    _leeroo_routes_{id}(question::VARCHAR, {routes.casts}, _leeroo_plan('leeroo_route'));

CREATE OR REPLACE TEMP MACRO leeroo_scores(question) AS
    _leeroo_scores_{id}(question::VARCHAR, _leeroo_plan('leeroo_scores'));
