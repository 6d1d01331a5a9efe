"""A model of one's own in Python: a vision transformer whose layers share one wide MLP."""

from __future__ import annotations

from accelsim.workload import totals
from accelsim.workload.author import Graph, Value
from accelsim.workload.compare import diff
from accelsim.workload.graph import Workload
from accelsim.workload.serial import load, save

WIDTH, HEADS, LAYERS = 384, 6, 12


def vision_transformer(batch: int) -> Workload:
    """Return the model for a batch of images of 224 x 224."""
    g = Graph("shared-mlp-vit")
    image = g.input("image", (batch, 3, 224, 224))
    patches = g.conv(image, WIDTH, 16, stride=16, padding=0, name="patches")
    tokens = g.transpose(g.reshape(patches, (batch, WIDTH, 196)), 0, 2, 1)
    up, down = g.weight("mlp.up", (8 * WIDTH, WIDTH)), g.weight("mlp.down", (WIDTH, 8 * WIDTH))

    def layer(x: Value) -> Value:
        q, k, v = g.split(g.linear(g.layer_norm(x), 3 * WIDTH, bias=True, name="qkv"), 3)
        y = g.attention(q, k, v, heads=HEADS)
        x = g.add(x, g.linear(y, WIDTH, bias=True, name="out"))
        h = g.gelu(g.linear(g.layer_norm(x), 8 * WIDTH, weight=up, name="up"))
        return g.add(x, g.linear(h, WIDTH, weight=down, name="down"))

    tokens = g.add(tokens, g.weight("positions", (196, WIDTH)), label="embedding")
    tokens = g.repeat(LAYERS, layer, tokens)
    features = g.reduce(g.layer_norm(tokens), "mean", (1,), name="pool")
    g.output(g.linear(features, 1000, bias=True, name="classifier"))
    return g.build()


def main() -> None:
    """Print the model's blocks and counts, and what a larger batch changes."""
    one, eight = vision_transformer(1), vision_transformer(8)
    for block in one.blocks:
        names = ", ".join(operator.name for operator in block.operators)
        print(f"{block.name} x {block.count}: {names}")
    print(f"{one.parameters:,} parameters, {totals(one).macs:,} MACs per image")
    changes = {change.place: change for change in diff(one, eight).totals}
    print(changes["macs"])
    print(changes.get("weight_read_bytes", "weights: as before"))
    print("saved and read back:", load(save(one, "shared-mlp-vit.json")) == one)


if __name__ == "__main__":
    main()
