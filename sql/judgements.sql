-- Judgements: if a condition holds of a text, and how much of a quality it has. to_json tells a condition (a string) from
-- the fields that the first argument names (an object).

CREATE OR REPLACE TEMP MACRO _leeroo_filter(name, "text", condition, threshold, {filters.names}) AS
    _leeroo_filters_{id}("text"::VARCHAR, to_json(condition)::VARCHAR, typeof(condition)::VARCHAR, threshold::DOUBLE, {filters.casts}, _leeroo_plan(name));

CREATE OR REPLACE TEMP MACRO leeroo_filter("text", condition, threshold := NULL, {filters.defaults}) AS
    _leeroo_filter('leeroo_filter', "text", condition, threshold, {filters.names})."value";

CREATE OR REPLACE TEMP MACRO leeroo_filtered("text", condition, threshold := NULL, {filters.defaults}) AS
    _leeroo_filter('leeroo_filtered', "text", condition, threshold, {filters.names});

CREATE OR REPLACE TEMP MACRO _leeroo_score(name, "text", quality, {scored.names}) AS
    _leeroo_scored_{id}("text"::VARCHAR, to_json(quality)::VARCHAR, typeof(quality)::VARCHAR, {scored.casts}, _leeroo_plan(name));

CREATE OR REPLACE TEMP MACRO leeroo_score("text", quality, {scored.defaults}) AS
    _leeroo_score('leeroo_score', "text", quality, {scored.names})."value";

CREATE OR REPLACE TEMP MACRO leeroo_scored("text", quality, {scored.defaults}) AS
    _leeroo_score('leeroo_scored', "text", quality, {scored.names});
