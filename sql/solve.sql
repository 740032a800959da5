-- Complex questions: split into steps, each answered by its best expert, the parts made into one answer.

CREATE OR REPLACE TEMP MACRO leeroo_solve
(question, max_steps := NULL, max_depth := NULL, max_cost_usd := NULL, planner := NULL, private := false) AS
    _leeroo_solutions_{id}(
        question::VARCHAR, private::BOOLEAN, max_steps::BIGINT, max_depth::BIGINT, max_cost_usd::DOUBLE, planner::VARCHAR,
        _leeroo_plan('leeroo_solve')
    );
