"""DuckDB functions that answer questions.

How one statement becomes answers, from its text to the values of its calls:

    register.sql, connection.Connection        the text of some statements
      -> statements.statement.Statement        one of them, rehearsed in a transaction that is rolled back:
           -> sql/*.sql (macros)               leeroo_answer(q) calls _leeroo_texts_...(q, ..., plan)
           -> functions.raw                    2,048 rows at a time, as Arrow
           -> functions.forms                  columns -> questions with their arguments
           -> functions.calls.find             known? -> functions.memo; otherwise collected, and NULL for now
      -> functions.calls.answer_collected      all collected questions of a function
           -> functions.kinds, requests        one table for
           -> engine.answer.Engine.answer      one batch, whose answers go to functions.memo
      (repeated until a rehearsal collects nothing new)
      -> the statement itself                  every call finds its value: functions.memo -> functions.forms -> SQL

`functions.signatures` lists the arguments that macros, raw functions and forms share. Without statements of ours
(`register` alone) DuckDB enters at the macros, and each vector is answered as it comes.
"""
