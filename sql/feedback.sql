-- Feedback of users on answers. The table's check writes each row to the answer store; the macro reads the store.

CREATE OR REPLACE TEMP TABLE leeroo_feedback (
    question VARCHAR, expert VARCHAR, answer VARCHAR, score DOUBLE, gold VARCHAR,
    CHECK (_leeroo_given_{id}(question, expert, answer, score, gold))
);

CREATE OR REPLACE TEMP MACRO leeroo_feedback() AS TABLE
    SELECT unnest(_leeroo_feedback_{id}(0), max_depth := 2);
