"""The answers of this project: the loop compiled into one call, and no loop at all."""


def fit(x, epochs, on_epoch):
    import keras

    import aezoo

    model = aezoo.dense_ae((x.shape[1],), 128, hidden_units=(), latent_activation="sigmoid")
    each = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: on_epoch(model.reconstruct)
    )
    model.fit(x, epochs=epochs, verbose=0, callbacks=[each])


def pca(x, epochs, on_epoch):
    import aezoo

    model = aezoo.pca_ae((x.shape[1],), 128)
    model.fit(x, verbose=0)
    on_epoch(model.reconstruct)


def random_features(x, epochs, on_epoch):
    import aezoo

    model = aezoo.random_feature_ae((x.shape[1],), 128)
    model.fit(x, verbose=0)
    on_epoch(model.reconstruct)
