// block_order.cpp: in which order the lanes of a warp run basic blocks: a weak topological order of those that were
// seen (Bourdoncle 1993, "Efficient chaotic iteration strategies with widenings").
#include <algorithm>

#include "counts.h"

namespace gpunn {
namespace counting {
namespace {

struct Ordering {
    std::vector<u32> number, low, stack, inside;  // inside: which search a node belongs to
    std::vector<bool> on_stack;
    u32 counter = 0, search = 0, given = 0;

    void components(u32 v, std::vector<std::vector<u32>>& found) {  // Tarjan 1972; found: the last first
        number[v] = low[v] = ++counter;
        stack.push_back(v);
        on_stack[v] = true;
        const u32 here = inside[v];
        for (const u32 w : nodes[v].successors) {
            if (inside[w] != here) continue;
            if (!number[w]) {
                components(w, found);
                low[v] = std::min(low[v], low[w]);
            } else if (on_stack[w]) {
                low[v] = std::min(low[v], number[w]);
            }
        }
        if (low[v] != number[v]) return;
        found.emplace_back();
        for (u32 w = ~0u; w != v;) {
            w = stack.back();
            stack.pop_back();
            on_stack[w] = false;
            found.back().push_back(w);
        }
    }
    void arrange(const std::vector<u32>& some) {
        ++search;
        for (const u32 v : some) inside[v] = search, number[v] = 0;
        std::vector<std::vector<u32>> found;
        for (const u32 v : some)
            if (!number[v]) components(v, found);
        for (size_t i = found.size(); i-- > 0;) {
            std::vector<u32>& part = found[i];
            // Nodes are numbered as they were first run, so the smallest is where the loop is entered.
            const auto header = std::min_element(part.begin(), part.end());
            nodes[*header].order = ++given;
            part.erase(header);
            if (!part.empty()) arrange(part);
        }
    }
};

}  // namespace

void order_nodes() {
    order_is_old = false;
    Ordering ordering;
    ordering.number.resize(nodes.size());
    ordering.low = ordering.inside = ordering.number;
    ordering.on_stack.resize(nodes.size());
    std::vector<u32> all;
    for (u32 i = 1; i < nodes.size(); ++i) all.push_back(i);
    ordering.arrange(all);
}

}  // namespace counting
}  // namespace gpunn
