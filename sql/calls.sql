-- What the public functions share. Names in braces are filled in by udfs/functions/signatures.py: the arguments of each
-- function, and an end that makes the raw functions of one registration its own. The raw functions belong to the whole
-- database instance, these macros to one connection only, and neither is written to a database file.
--
-- The plan function has constant arguments only, so the planner itself calls it. That is how a statement that calls one
-- of our functions is recognised, through views and macros too.

CREATE OR REPLACE TEMP MACRO _leeroo_plan(name) AS _leeroo_plan_{id}(name, {variables});

-- The types of fields say which of them are images: JSON does not.
CREATE OR REPLACE TEMP MACRO _leeroo_ask(name, question, fields, kinds, {answers.names}) AS
_leeroo_answers_{id}(question::VARCHAR, fields::VARCHAR, kinds::VARCHAR, NULL::DOUBLE, {answers.casts}, _leeroo_plan(name));

CREATE OR REPLACE TEMP MACRO _leeroo_ask_text(name, question, fields, kinds, {answers.names}) AS
_leeroo_texts_{id}(question::VARCHAR, fields::VARCHAR, kinds::VARCHAR, NULL::DOUBLE, {answers.casts}, _leeroo_plan(name));

-- Sampling: evaluated anew for every row, constants included, and never twice for one.
CREATE OR REPLACE TEMP MACRO _leeroo_sample(name, question, fields, kinds, temperature, {answers.names}) AS
_leeroo_samples_{id}(question::VARCHAR, fields::VARCHAR, kinds::VARCHAR, temperature::DOUBLE, {answers.casts}, _leeroo_plan(name));
