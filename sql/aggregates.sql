-- One answer for the texts of a group. DuckDB has no aggregate functions in Python: these collect the texts into a list
-- and hand that over. So they stand where an aggregate may stand, in GROUP BY and before OVER. leeroo_agg_list takes a
-- list as it is.

CREATE OR REPLACE TEMP MACRO _leeroo_aggregate(name, texts, task, {aggregates.names}) AS
    _leeroo_aggregates_{id}(texts::VARCHAR[], task::VARCHAR, {aggregates.casts}, _leeroo_plan(name));

CREATE OR REPLACE TEMP MACRO leeroo_agg("text", task, {aggregates.defaults}) AS
    _leeroo_aggregate('leeroo_agg', list("text"::VARCHAR), task, {aggregates.names})."value";

CREATE OR REPLACE TEMP MACRO leeroo_aggregated("text", task, {aggregates.defaults}) AS
    _leeroo_aggregate('leeroo_aggregated', list("text"::VARCHAR), task, {aggregates.names});

CREATE OR REPLACE TEMP MACRO leeroo_agg_list(texts, task, {aggregates.defaults}) AS
    _leeroo_aggregate('leeroo_agg_list', texts, task, {aggregates.names})."value";

CREATE OR REPLACE TEMP MACRO leeroo_summarize("text", {aggregates.defaults}) AS
    _leeroo_aggregate('leeroo_summarize', list("text"::VARCHAR), 'Summarize the texts: the main points in a few sentences.', {aggregates.names})."value";

CREATE OR REPLACE TEMP MACRO leeroo_summarized("text", {aggregates.defaults}) AS
    _leeroo_aggregate('leeroo_summarized', list("text"::VARCHAR), 'Summarize the texts: the main points in a few sentences.', {aggregates.names});
