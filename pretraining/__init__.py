"""How the weights that come with the project are made: the pictures, the examples, the training, the measures.

It runs as `python -m pretraining.NAME`, and knows no Ray and no storage. `pack` and `measure` need the pictures;
`train` needs a pack alone, and of libraries PyTorch, safetensors, OpenCV, NumPy and Pillow.
"""
