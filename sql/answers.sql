-- leeroo: the answer with everything known of it; leeroo_answer: the text alone. The second form of each is taken
-- when a temperature is given.

CREATE OR REPLACE TEMP MACRO leeroo
(question, expert := NULL, "system" := NULL, max_tokens := NULL) AS
    _leeroo_ask('leeroo', question, expert, "system", max_tokens),
(question, temperature, expert := NULL, "system" := NULL, max_tokens := NULL) AS
    _leeroo_sample('leeroo', question, expert, "system", max_tokens, temperature);

CREATE OR REPLACE TEMP MACRO leeroo_answer
(question, expert := NULL, "system" := NULL, max_tokens := NULL) AS
    _leeroo_ask('leeroo_answer', question, expert, "system", max_tokens).answer,
(question, temperature, expert := NULL, "system" := NULL, max_tokens := NULL) AS
    _leeroo_sample('leeroo_answer', question, expert, "system", max_tokens, temperature).answer;
