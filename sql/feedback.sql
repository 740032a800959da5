-- What users write back of answers. The table's check takes each row into the answer store; the macro reads what is
-- there.

CREATE OR REPLACE TEMP TABLE leeroo_feedback (
    question VARCHAR, expert VARCHAR, answer VARCHAR, score DOUBLE, gold VARCHAR,
    CHECK (_leeroo_given_{id}(question, expert, answer, score, gold))
);

CREATE OR REPLACE TEMP MACRO leeroo_feedback() AS TABLE
    SELECT unnest(_leeroo_feedback_{id}(0), max_depth := 2);
