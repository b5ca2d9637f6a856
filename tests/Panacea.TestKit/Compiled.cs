using System.ComponentModel;
using System.Diagnostics;

namespace Panacea.TestKit;

/// <summary>Objects that gcc makes for a test, and what binutils say of them. Both are needed to link the native binary, so they are there where the tests are.</summary>
public static class Compiled
{
    /// <summary>Functions with calls that are inlined into each other, code that is moved away (<c>.cold</c>), and assembly.</summary>
    public const string Source = """
        extern int trouble(int);
        static inline __attribute__((always_inline)) int deepest(volatile int *p)
        {
            return p[1] / 3 + *p;
        }

        static inline __attribute__((always_inline)) int middle(volatile int *p)
        {
            int first = deepest(p) * 2;
            return first ^ deepest(p + 2);
        }

        __attribute__((noinline)) int outer(volatile int *p, int n)
        {
            int sum = 0;
            for (int i = 0; i < n; i++) {
                sum += middle(p + i);
                if (__builtin_expect(sum > 1000000, 0))
                    sum -= trouble(sum);
            }
            return sum;
        }

        __attribute__((noinline, cold)) int trouble(int n)
        {
            volatile int kept = n;
            return deepest(&kept);
        }

        __attribute__((section(".init.text"))) int early(volatile int *p)
        {
            return outer(p, 3) + middle(p);
        }

        int ct_int(volatile int *p)
        {
            *p = 17;
            return outer(p, 2);
        }
        """;

    /// <summary>Compiles a source; null, with what was said, where that is not possible here.</summary>
    /// <param name="directory">Where to.</param>
    /// <param name="name">Name of the object.</param>
    /// <param name="source">C.</param>
    /// <param name="options">Options of gcc.</param>
    public static (string? Path, string Said) TryMake(TemporaryDirectory directory, string name, string source, params string[] options)
    {
        string file = directory.File("fixture.c"), made = directory.File(name);
        File.WriteAllText(file, source);
        (int code, string said) = Run("gcc", ["-O2", "-fno-ipa-icf", "-fno-stack-protector", "-fcf-protection=none", "-fno-pic", "-fno-pie", .. options, "fixture.c", "-o", name], directory.Path, "");
        return code == 0 ? (made, said) : (null, said);
    }

    /// <summary>Runs a program of the toolchain; code −1 where there is none.</summary>
    public static (int Code, string Out) Run(string program, string[] arguments, string directory, string input)
    {
        var start = new ProcessStartInfo(program) { WorkingDirectory = directory, RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (string argument in arguments)
            start.ArgumentList.Add(argument);
        try
        {
            using Process process = Process.Start(start)!;
            Task<string> output = process.StandardOutput.ReadToEndAsync(), error = process.StandardError.ReadToEndAsync();
            process.StandardInput.Write(input);
            process.StandardInput.Close();
            process.WaitForExit();
            return (process.ExitCode, process.ExitCode == 0 ? output.Result : error.Result);
        }
        catch (Win32Exception e)
        {
            return (-1, e.Message);
        }
    }

    /// <summary>What <c>addr2line -i -f</c> says: for each address the functions, innermost first, with file and line.</summary>
    /// <param name="file">The object.</param>
    /// <param name="addresses">Addresses as it counts them.</param>
    /// <param name="section">Of a relocatable object: the section that they lie in; null for a linked one.</param>
    /// <returns>Null where there is no addr2line.</returns>
    public static IReadOnlyList<IReadOnlyList<(string Function, string Place)>>? AddressesToLines(string file, IReadOnlyList<ulong> addresses, string? section = null)
    {
        string[] arguments = ["-i", "-f", "-a", "-e", file, .. section is null ? (string[])[] : ["-j", section]];
        (int code, string said) = Run("addr2line", arguments, Path.GetDirectoryName(file)!, string.Concat(addresses.Select(a => $"0x{a:x}\n")));
        if (code != 0)
            return null;
        var all = new List<List<(string, string)>>();
        string? function = null;
        foreach (string line in said.Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            if (line.StartsWith("0x", StringComparison.Ordinal))
            {
                all.Add([]);
                continue;
            }

            if (function is null)
            {
                function = line;
                continue;
            }

            string place = line.Split(" (discriminator")[0];
            all[^1].Add((function, place.EndsWith('?') ? place[..^1] + "0" : place));
            function = null;
        }

        return all;
    }
}
