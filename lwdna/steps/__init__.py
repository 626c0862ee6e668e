"""The steps of the pipeline, one small script each: parse, call, write atomically."""
