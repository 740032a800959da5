-- Vectors of texts. The raw function gives lists, which are cast to FLOAT[n]: the planner knows the n of each `model`, a
-- constant, from a struct of NULLs. Its field is taken from a struct with an argument in it, because DuckDB would
-- otherwise look for it when the macro is made, where no model is known.

CREATE OR REPLACE TEMP MACRO _leeroo_vector_type("text", model) AS
    struct_extract(
        struct_extract(struct_pack("text" := "text", "types" := _leeroo_vector_types_{id}(0)), 'types'),
        _leeroo_vector_name_{id}(model::VARCHAR)
    );

CREATE OR REPLACE TEMP MACRO _leeroo_embed(name, "text", model, {embeddings.names}) AS
    cast_to_type(
        _leeroo_embeddings_{id}("text"::VARCHAR, model::VARCHAR, {embeddings.casts}, _leeroo_plan(name)),
        _leeroo_vector_type("text", model)
    );

CREATE OR REPLACE TEMP MACRO leeroo_embed("text", model := NULL, {embeddings.defaults}) AS
    _leeroo_embed('leeroo_embed', "text", model, {embeddings.names});

-- The cosine, from -1 to 1.
CREATE OR REPLACE TEMP MACRO leeroo_similarity(a, b, model := NULL, {embeddings.defaults}) AS
    array_cosine_similarity(
        _leeroo_embed('leeroo_similarity', a, model, {embeddings.names}),
        _leeroo_embed('leeroo_similarity', b, model, {embeddings.names})
    )::DOUBLE;
