"""How the weights that come with the project are made: the pictures, the examples, the training, the measures.

It runs as `python -m pretraining.NAME`, and knows no Ray. `pack` needs the pictures; `train` and `measure` need a pack
alone, and of libraries PyTorch, safetensors, OpenCV, NumPy, Pillow and click. `publish` writes a model's folder as a
training job does.
"""
