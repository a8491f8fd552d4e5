"""The same net in PyTorch: full batches, Adam at 0.01, a loop over the epochs."""


def train(x, epochs, on_epoch):
    import torch

    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(x.shape[1], 128), torch.nn.Sigmoid(),
        torch.nn.Linear(128, x.shape[1]), torch.nn.Sigmoid(),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    loss_function, data = torch.nn.MSELoss(), torch.from_numpy(x)

    def reconstruct(x):
        with torch.no_grad():
            return model(torch.from_numpy(x)).numpy()

    for _ in range(epochs):
        optimizer.zero_grad()
        loss = loss_function(model(data), data)
        loss.backward()
        optimizer.step()
        on_epoch(reconstruct)
