-- Complex questions: split into steps, each answered by its best expert, then joined into one answer.

CREATE OR REPLACE TEMP MACRO leeroo_solve
(question, max_steps := NULL, max_depth := NULL, max_cost_usd := NULL, planner := NULL, {solutions.defaults}) AS
    _leeroo_solutions_{id}(
        question::VARCHAR, max_steps::BIGINT, max_depth::BIGINT, max_cost_usd::DOUBLE, planner::VARCHAR,
        {solutions.casts}, _leeroo_plan('leeroo_solve')
    );
