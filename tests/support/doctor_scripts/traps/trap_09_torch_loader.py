"""class_weight with a torch DataLoader."""

# backends: torch

import keras
import torch

data = torch.utils.data.TensorDataset(torch.ones((16, 3)), torch.tensor([0, 1] * 8))
loader = torch.utils.data.DataLoader(data, batch_size=8)
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, activation="softmax")])
model.compile("sgd", "sparse_categorical_crossentropy")
model.fit(loader, class_weight={0: 1.0, 1: 5.0}, verbose=0)
