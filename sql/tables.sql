-- The contents of the pool and of the answer store: the experts, the runs, and what was spent.

CREATE OR REPLACE TEMP MACRO leeroo_experts() AS TABLE
    SELECT unnest(_leeroo_experts_{id}(0), max_depth := 2);

CREATE OR REPLACE TEMP MACRO leeroo_runs() AS TABLE
    SELECT unnest(_leeroo_runs_{id}(0), max_depth := 2);

CREATE OR REPLACE TEMP MACRO leeroo_spend() AS TABLE
    SELECT unnest(_leeroo_spend_{id}(0), max_depth := 2);
