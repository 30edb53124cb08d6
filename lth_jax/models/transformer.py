"""Transformer: predicts the next token, or an answer after the last one."""

from functools import partial

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool

from lth_jax.models.classifier import (
    Classifier,
    EachLogits,
    Logits,
    ModuleDef,
    Sequences,
    Tokens,
    without_norm,
)


class Block(nn.Module):
    """Attention and an MLP of one hidden layer, each added to what it is given.

    Both are given it normalised (pre-LayerNorm, Xiong et al. 2020, figure 1b).
    """

    attention: ModuleDef
    dense: ModuleDef
    norm: ModuleDef
    hidden: int  # units of the MLP
    activation: str  # a function of `flax.linen`
    dropout: float  # share of what each of both adds that is dropped in training

    @nn.compact
    def __call__(
        self, x: Sequences, mask: Bool[Array, "_ 1 time time"] | None, train: bool
    ) -> Sequences:
        def add(x: Sequences, y: Sequences) -> Sequences:
            return x + nn.Dropout(self.dropout, deterministic=not train)(y)

        y = self.norm(name="norm1")(x)
        x = add(x, self.attention(name="attention")(y, mask=mask))
        y = self.dense(self.hidden, name="fc1")(self.norm(name="norm2")(x))
        y = getattr(nn, self.activation)(y)
        return add(x, self.dense(x.shape[-1], name="fc2")(y))


def bound_block(
    network: Classifier,
    *,
    heads: int,
    hidden: int,
    dropout: float,
    activation: str = "gelu",
    layer_norm: bool = True,
    use_bias: bool = True,
) -> ModuleDef:
    """Bind a network's common fields to `Block`, and those of the block."""
    attention = partial(
        nn.MultiHeadDotProductAttention,
        num_heads=heads,
        kernel_init=network.kernel_init,
        use_bias=use_bias,
        dtype=network.dtype,
        force_fp32_for_softmax=True,  # a sum over the context: bfloat16 has 8 bits
    )
    return partial(
        Block,
        attention=attention,
        dense=network.bound_dense(use_bias),
        norm=network.bound_layer_norm() if layer_norm else without_norm,
        hidden=hidden,
        activation=activation,
        dropout=dropout,
    )


class Transformer(Classifier):
    """Decoder-only transformer of learned positions (Radford et al. 2019, section 2.3).

    Of integers; each position sees those before it and itself. The default has 0.9M
    parameters for bytes. The transformer of modular addition (Nanda et al. 2023,
    section 3) is `depth=1, context=3, activation="relu", layer_norm=False,
    use_bias=False, per_token=False`; its MLP has biases, the rest has none.

    Layers are `embed`, `positions`, `block1`, `block2`, ... (`norm1`, `attention`,
    `norm2`, `fc1` and `fc2`), `norm` and `fc`. Pruned are the kernels of attention
    (`query`, `key`, `value`, `out`, of rank 3) and of all `fc`, the embeddings and the
    positions; LayerNorm and biases are not. Embeddings and positions start at a
    variance of 1 / width. Only `norm_epsilon` and `norm_scale` reach LayerNorm.

    >>> import jax, jax.numpy as jnp
    >>> network = Transformer(num_classes=256, depth=1)
    >>> tokens = jnp.zeros((1, 16), int)
    >>> start = lambda: network.init_with_output(jax.random.key(0), tokens, train=False)
    >>> logits, _ = jax.eval_shape(start)
    >>> logits.shape
    (1, 16, 256)
    """

    vocabulary: int = 0  # how many tokens there are; 0: as many as classes
    context: int = 128  # the longest sequence
    width: int = 128  # of a token
    depth: int = 4  # blocks
    heads: int = 4  # they share the width
    hidden: int = 512  # units of a block's MLP
    activation: str = "gelu"  # of it: a function of `flax.linen`
    layer_norm: bool = True  # without it, no layer is normalised
    use_bias: bool = True  # of attention and dense layers
    dropout: float = 0.0  # share of the embeddings and of what each layer adds
    tied: bool = False  # the last layer's kernel is the embeddings
    per_token: bool = True  # else logits after the last token only

    @nn.compact
    def __call__(self, x: Tokens, train: bool) -> Logits | EachLogits:
        if x.shape[1] > self.context:
            raise ValueError(f"{x.shape[1]} tokens: context is {self.context}")
        tokens = self.vocabulary or self.num_classes
        if self.tied and tokens != self.num_classes:
            raise ValueError(
                f"tied: {tokens} tokens are not {self.num_classes} classes"
            )
        init = nn.initializers.normal(self.width**-0.5)
        embed = nn.Embed(
            tokens,
            self.width,
            embedding_init=init,
            dtype=self.dtype,
            name="embed",
        )
        positions = self.param("positions", init, (self.context, self.width))
        mask = nn.make_causal_mask(x[:1], dtype=bool)
        x = embed(x) + positions[None, : x.shape[1]].astype(self.dtype)
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        block = bound_block(
            self,
            heads=self.heads,
            hidden=self.hidden,
            dropout=self.dropout,
            activation=self.activation,
            layer_norm=self.layer_norm,
            use_bias=self.use_bias,
        )
        for layer in range(1, self.depth + 1):
            x = block(name=f"block{layer}")(x, mask, train)
        x = x if self.per_token else x[:, -1]
        x = self.bound_layer_norm()(name="norm")(x) if self.layer_norm else x
        if self.tied:
            return embed.attend(x).astype(jnp.float32)
        fc = self.bound_dense(self.use_bias)(self.num_classes, name="fc")
        return fc(x).astype(jnp.float32)
