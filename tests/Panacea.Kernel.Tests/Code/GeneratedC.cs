using System.Text;

namespace Panacea.Kernel.Tests.Code;

/// <summary>C functions from a seed: loops, early returns, calls, locals, switches, fatal checks, variable-length arrays. They are compiled, never run.</summary>
internal static class GeneratedC
{
    public static string Source(int seed, int functions)
    {
        var random = new Random(seed);
        var text = new StringBuilder("""
            extern long ext0(long), ext1(long, long), ext2(void *, long, long), ext3(long, long, long, long, long, long, long, long);
            extern void dead(const char *) __attribute__((noreturn, cold));
            extern void report(const char *, ...) __attribute__((cold));
            struct node { struct node *next; long a, b; long (*op)(struct node *, long); };

            """);
        for (int i = 0; i < functions; i++)
        {
            int parameters = random.Next(1, 8);
            string list = string.Join(", ", Enumerable.Range(0, parameters).Select(p => $"long p{p}"));
            text.Append($"long fn{i}(struct node *n, {list})\n{{\n");
            int locals = random.Next(1, 9);
            for (int v = 0; v < locals; v++)
                text.Append($"\tlong v{v} = p{random.Next(parameters)} + {random.Next(1000)};\n");
            if (random.Next(4) == 0)
                text.Append($"\tchar buf[{random.Next(8, 400)}];\n\text2(buf, sizeof(buf), v0);\n");
            if (random.Next(12) == 0)
                text.Append("\tchar vla[(p0 & 255) + 1];\n\text2(vla, p0, v0);\n");
            if (random.Next(2) == 0)
                text.Append($"\tif (!n || n->a == {random.Next(9)})\n\t\treturn {random.Next(-30, 1)};\n");
            int statements = random.Next(1, 9);
            for (int s = 0; s < statements; s++)
                Statement(text, random, locals, i, 1);
            text.Append($"\treturn {string.Join(" ^ ", Enumerable.Range(0, locals).Select(v => $"v{v}"))};\n}}\n\n");
        }

        return text.ToString();
    }

    private static void Statement(StringBuilder text, Random random, int locals, int function, int depth)
    {
        string tab = new('\t', depth), a = $"v{random.Next(locals)}", b = $"v{random.Next(locals)}", c = $"v{random.Next(locals)}";
        switch (depth > 3 ? random.Next(5) : random.Next(12))
        {
            case 0:
                text.Append($"{tab}{a} = ext0({b});\n");
                break;
            case 1:
                text.Append($"{tab}{a} += ext1({b}, {c} * 3);\n");
                break;
            case 2:
                text.Append($"{tab}{a} = n->op(n, {b}) + n->b;\n");
                break;
            case 3:
                text.Append($"{tab}{a} ^= ext3({a}, {b}, {c}, 1, 2, {b}, {c}, {a});\n");
                break;
            case 4:
                text.Append($"{tab}if (__builtin_expect({a} == {random.Next(99)}, 0))\n{tab}\tdead(\"{function}\");\n");
                break;
            case 5:
                text.Append($"{tab}if (__builtin_expect({a} < {b}, 0)) {{\n{tab}\treport(\"%ld\", {c});\n{tab}\t{b} = ext0({a});\n{tab}}}\n");
                break;
            case 6:
                text.Append($"{tab}while ({a} > {random.Next(50)}) {{\n");
                Statement(text, random, locals, function, depth + 1);
                text.Append($"{tab}\t{a} -= {b} | 1;\n{tab}}}\n");
                break;
            case 7:
                text.Append($"{tab}for (; n; n = n->next) {{\n");
                Statement(text, random, locals, function, depth + 1);
                text.Append($"{tab}\tif (n->a == {b}) break;\n{tab}}}\n{tab}if (!n)\n{tab}\treturn {a};\n");
                break;
            case 8:
                text.Append($"{tab}if ({a} & {1 << random.Next(8)}) {{\n");
                Statement(text, random, locals, function, depth + 1);
                text.Append($"{tab}}} else {{\n");
                Statement(text, random, locals, function, depth + 1);
                text.Append($"{tab}}}\n");
                break;
            case 9:
                text.Append($"{tab}switch ({a} & 7) {{\n");
                for (int k = 0; k < 6; k++)
                {
                    text.Append($"{tab}case {k}:\n");
                    Statement(text, random, locals, function, depth + 1);
                    text.Append($"{tab}\tbreak;\n");
                }

                text.Append($"{tab}}}\n");
                break;
            case 10:
                text.Append($"{tab}if ({b} == {random.Next(5)})\n{tab}\treturn ext1({a}, {c});\n");
                break;
            default:
                text.Append($"{tab}{{ long t[4] = {{ {a}, {b}, {c}, 1 }}; {a} = ext2(t, {b}, {c}) + t[2]; }}\n");
                break;
        }
    }
}
