using Panacea.Formats.Btf;
using Panacea.Formats.Tests.Btf;
using Panacea.GuestTests.Harness;
using Panacea.Kernel.Types;
using Panacea.Lab.Guests;
using Panacea.Lab.Setup;

namespace Panacea.GuestTests.Understanding;

/// <summary>Types that the repair image took from guest memory, against bpftool over the guest's own /sys/kernel/btf.</summary>
public abstract class TypeTests(SharedGuest shared)
{
    [Fact]
    public async Task Every_type_is_what_bpftool_says()
    {
        Guest guest = await shared.AliveAsync();
        string directory = Directory.CreateTempSubdirectory("panacea-btf-").FullName;
        try
        {
            string vmlinux = await CopyAsync(guest, "vmlinux", directory);
            using KernelView view = KernelView.Open(guest);
            BtfData kernel = view.Image.Types.Btf ?? throw new InvalidOperationException("no BTF");
            Compare(await BpftoolAsync(vmlinux), kernel);
            Assert.True(kernel.EndId > 50_000, $"{kernel.EndId} types");

            string[] withTypes = [.. (await guest.MustLinesAsync("ls /sys/kernel/btf")).Where(n => n != "vmlinux")];
            Assert.Contains("crashtest", withTypes);
            Assert.Contains("virtio_net", withTypes);
            foreach (string module in withTypes)
            {
                Assert.True(view.Image.TryTypesFor(module, out TypeCatalog types), $"{module} has no types in the image");
                Compare(await BpftoolAsync(await CopyAsync(guest, module, directory), "-B", vmlinux), types.Btf!);
            }
        }
        finally
        {
            Directory.Delete(directory, true);
        }
    }

    private static async Task<string> CopyAsync(Guest guest, string name, string directory)
    {
        string path = Path.Combine(directory, name);
        await File.WriteAllBytesAsync(path, await guest.ReadFileAsync($"/sys/kernel/btf/{name}"));
        return path;
    }

    private static async Task<StringReader> BpftoolAsync(string file, params string[] options) =>
        new(await HostCommand.MustAsync("bpftool", [.. options, "btf", "dump", "file", file]));

    private static void Compare(StringReader expected, BtfData btf)
    {
        for (uint id = btf.StartId; id < btf.EndId; id++)
        {
            foreach (string line in BtfRawDump.Lines(btf.GetType(id)))
            {
                string wanted = expected.ReadLine() ?? "(end)";
                // bpftool prints the linkage of variables, which nothing of ours keeps.
                if (wanted != line && !(line.EndsWith("linkage=", StringComparison.Ordinal) && wanted.StartsWith(line, StringComparison.Ordinal)))
                    Assert.Equal(wanted, line);
            }
        }

        Assert.Null(expected.ReadLine());
    }
}

/// <inheritdoc/>
[Collection(nameof(Guest61))]
public sealed class TypeTests61(Guest61 guest) : TypeTests(guest);

/// <inheritdoc/>
[Collection(nameof(Guest612))]
public sealed class TypeTests612(Guest612 guest) : TypeTests(guest);
