-- leeroo: the answer with everything known of it; leeroo_answer: the text alone. The forms differ in whether the
-- question is a task with {names} of fields, and in whether a temperature is given.

CREATE OR REPLACE TEMP MACRO leeroo
(question, expert VARCHAR := NULL, "system" VARCHAR := NULL, max_tokens BIGINT := NULL,
 private BOOLEAN := false) AS
    _leeroo_ask('leeroo', question, NULL, expert, "system", private, max_tokens),
(question, fields, expert VARCHAR := NULL, "system" VARCHAR := NULL, max_tokens BIGINT := NULL,
 private BOOLEAN := false) AS
    _leeroo_ask('leeroo', question, to_json(fields), expert, "system", private, max_tokens),
(question, temperature DOUBLE, expert VARCHAR := NULL, "system" VARCHAR := NULL, max_tokens BIGINT := NULL,
 private BOOLEAN := false) AS
    _leeroo_sample('leeroo', question, NULL, expert, "system", private, max_tokens, temperature),
(question, fields, temperature DOUBLE, expert VARCHAR := NULL, "system" VARCHAR := NULL, max_tokens BIGINT := NULL,
 private BOOLEAN := false) AS
    _leeroo_sample('leeroo', question, to_json(fields), expert, "system", private, max_tokens, temperature);

CREATE OR REPLACE TEMP MACRO leeroo_answer
(question, expert VARCHAR := NULL, "system" VARCHAR := NULL, max_tokens BIGINT := NULL,
 private BOOLEAN := false) AS
    _leeroo_ask_text('leeroo_answer', question, NULL, expert, "system", private, max_tokens).answer,
(question, fields, expert VARCHAR := NULL, "system" VARCHAR := NULL, max_tokens BIGINT := NULL,
 private BOOLEAN := false) AS
    _leeroo_ask_text('leeroo_answer', question, to_json(fields), expert, "system", private, max_tokens).answer,
(question, temperature DOUBLE, expert VARCHAR := NULL, "system" VARCHAR := NULL, max_tokens BIGINT := NULL,
 private BOOLEAN := false) AS
    _leeroo_sample('leeroo_answer', question, NULL, expert, "system", private, max_tokens, temperature).answer,
(question, fields, temperature DOUBLE, expert VARCHAR := NULL, "system" VARCHAR := NULL, max_tokens BIGINT := NULL,
 private BOOLEAN := false) AS
    _leeroo_sample('leeroo_answer', question, to_json(fields), expert, "system", private, max_tokens, temperature).answer;
