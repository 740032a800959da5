-- leeroo: the answer with everything known of it; leeroo_answer: the text alone. The forms differ in two things: the
-- question may be a task with {{names}} of fields, and a temperature may be given.

CREATE OR REPLACE TEMP MACRO leeroo
(question, {answers.typed}) AS
    _leeroo_ask('leeroo', question, NULL, NULL, {answers.names}),
(question, fields, {answers.typed}) AS
    _leeroo_ask('leeroo', question, to_json(fields), typeof(fields), {answers.names}),
(question, temperature DOUBLE, {answers.typed}) AS
    _leeroo_sample('leeroo', question, NULL, NULL, temperature, {answers.names}),
(question, fields, temperature DOUBLE, {answers.typed}) AS
    _leeroo_sample('leeroo', question, to_json(fields), typeof(fields), temperature, {answers.names});

CREATE OR REPLACE TEMP MACRO leeroo_answer
(question, {answers.typed}) AS
    _leeroo_ask_text('leeroo_answer', question, NULL, NULL, {answers.names}).answer,
(question, fields, {answers.typed}) AS
    _leeroo_ask_text('leeroo_answer', question, to_json(fields), typeof(fields), {answers.names}).answer,
(question, temperature DOUBLE, {answers.typed}) AS
    _leeroo_sample('leeroo_answer', question, NULL, NULL, temperature, {answers.names}).answer,
(question, fields, temperature DOUBLE, {answers.typed}) AS
    _leeroo_sample('leeroo_answer', question, to_json(fields), typeof(fields), temperature, {answers.names}).answer;
