-- What the public functions share. `{id}` makes the raw functions of one registration its own: they belong to the
-- whole database instance, these macros to one connection only, and neither is written to a database file.
--
-- The plan function has constant arguments only, so the planner itself calls it: that is how a statement that calls
-- one of ours is told from one that does not, through views and macros too.

CREATE OR REPLACE TEMP MACRO _leeroo_plan(name) AS _leeroo_plan_{id}(
    name,
    getvariable('leeroo_max_cost_usd')::DOUBLE,
    getvariable('leeroo_cost_weight')::DOUBLE,
    getvariable('leeroo_latency_weight')::DOUBLE,
    getvariable('leeroo_on_error')::VARCHAR
);

CREATE OR REPLACE TEMP MACRO _leeroo_ask(name, question, fields, expert, "system", private, max_tokens) AS
_leeroo_answers_{id}(
    question::VARCHAR, fields::VARCHAR, expert::VARCHAR, "system"::VARCHAR, private::BOOLEAN, max_tokens::BIGINT,
    NULL::DOUBLE, _leeroo_plan(name)
);

CREATE OR REPLACE TEMP MACRO _leeroo_ask_text(name, question, fields, expert, "system", private, max_tokens) AS
_leeroo_texts_{id}(
    question::VARCHAR, fields::VARCHAR, expert::VARCHAR, "system"::VARCHAR, private::BOOLEAN, max_tokens::BIGINT,
    NULL::DOUBLE, _leeroo_plan(name)
);

-- Sampling: evaluated anew for every row, constants included, and never twice for one.
CREATE OR REPLACE TEMP MACRO _leeroo_sample(name, question, fields, expert, "system", private, max_tokens, temperature) AS
_leeroo_samples_{id}(
    question::VARCHAR, fields::VARCHAR, expert::VARCHAR, "system"::VARCHAR, private::BOOLEAN, max_tokens::BIGINT,
    temperature::DOUBLE, _leeroo_plan(name)
);
