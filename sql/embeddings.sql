-- Vectors of texts. The raw function gives lists, which are cast to FLOAT[n]: the planner knows the n of each `model`, a
-- constant. The coalesce of it changes nothing, but has no type before a macro is called: DuckDB then looks for a constant
-- only in a call.

CREATE OR REPLACE TEMP MACRO _leeroo_embed(name, "text", model, {embeddings.names}) AS
    cast_to_type(
        _leeroo_embeddings_{id}("text"::VARCHAR, model::VARCHAR, {embeddings.casts}, _leeroo_plan(name)),
        from_json('null', _leeroo_vector_type_{id}(coalesce(model, NULL)::VARCHAR))
    );

CREATE OR REPLACE TEMP MACRO leeroo_embed("text", model := NULL, {embeddings.defaults}) AS
    _leeroo_embed('leeroo_embed', "text", model, {embeddings.names});

-- The cosine, from -1 to 1.
CREATE OR REPLACE TEMP MACRO leeroo_similarity(a, b, model := NULL, {embeddings.defaults}) AS
    array_cosine_similarity(
        _leeroo_embed('leeroo_similarity', a, model, {embeddings.names}),
        _leeroo_embed('leeroo_similarity', b, model, {embeddings.names})
    )::DOUBLE;
