//! Compressed request bodies are read on the side and go on as they came; and large ones pass.
