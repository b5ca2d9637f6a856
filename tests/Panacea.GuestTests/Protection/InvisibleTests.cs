using System.Buffers.Binary;
using System.Globalization;
using Panacea.GuestTests.Harness;
using Panacea.Lab.Guests;

namespace Panacea.GuestTests.Protection;

/// <summary>The guest can't tell that it is guarded.</summary>
public abstract class InvisibleTests(SharedGuest shared)
{
    private sealed record Picture(string Modules, string Iomem, string Text);

    [Fact]
    public async Task The_guest_looks_the_same_from_inside()
    {
        Guest guest = await shared.AliveAsync();
        await guest.MustAsync("echo 0 > /proc/sys/kernel/kptr_restrict");
        Picture before = await TakeAsync(guest);
        await using (GuardProcess guard = await GuardProcess.StartArmedAsync(guest))
        {
            Assert.Equal(before, await TakeAsync(guest));
            await guest.CrashAsync("null-write");
            await guard.WaitForAsync("incident");
            Assert.Equal(before, await TakeAsync(guest));
        }

        Assert.Equal(before, await TakeAsync(guest));
    }

    [Fact]
    public async Task Building_an_image_and_looking_never_stop_the_guest()
    {
        Guest guest = await shared.AliveAsync();
        int stops = guest.Monitor.Events.Count(e => e == "STOP");
        string file = Path.Combine(Directory.CreateTempSubdirectory("panacea-image-").FullName, "guest.rimg");
        try
        {
            await PanaceaCommand.MustAsync("image", "build", $"qmp:{guest.QmpPath}", "-o", file);
            await PanaceaCommand.MustAsync("image", "verify", file, $"qmp:{guest.QmpPath}");
            foreach (string what in (string[])["ps", "modules", "dmesg"])
                Assert.NotEmpty(await PanaceaCommand.MustAsync("inspect", $"qmp:{guest.QmpPath}", what));
            Assert.Contains("schedule", await PanaceaCommand.MustAsync("inspect", $"qmp:{guest.QmpPath}", "symbol", "schedule"), StringComparison.Ordinal);
            Assert.Contains("struct list_head", await PanaceaCommand.MustAsync("inspect", $"qmp:{guest.QmpPath}", "type", "task_struct"), StringComparison.Ordinal);
            // "Goal: 8 MB on disk with pristine text in it."
            Assert.InRange(new FileInfo(file).Length, 1 << 20, 16 << 20);
        }
        finally
        {
            Directory.Delete(Path.GetDirectoryName(file)!, true);
        }

        // The monitor answers after everything that came before it.
        Assert.Equal("running", (string?)(await guest.Monitor.ExecuteAsync("query-status"))?["status"]);
        Assert.Equal(stops, guest.Monitor.Events.Count(e => e == "STOP"));
    }

    private static async Task<Picture> TakeAsync(Guest guest) => new(
        await guest.MustAsync("cut -d' ' -f1,2,4- /proc/modules"), await guest.MustAsync("cat /proc/iomem"), await TextSumAsync(guest));

    /// <summary>The checksum of the kernel's text as the guest itself reads it, through /proc/kcore.</summary>
    private static async Task<string> TextSumAsync(Guest guest)
    {
        ulong[] edges = [.. (await guest.MustAsync("grep -E ' (_stext|_etext)$' /proc/kallsyms")).Split('\n').Select(l => ulong.Parse(l[..16], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture)).Order()];
        byte[] header = Convert.FromBase64String((await guest.MustAsync("dd if=/proc/kcore bs=4096 count=1 2> /dev/null | base64")).ReplaceLineEndings(""));
        // Elf64_Ehdr: e_phoff at 32, e_phnum at 56; Elf64_Phdr: p_offset at 8, p_vaddr at 16, p_memsz at 40.
        int count = BinaryPrimitives.ReadUInt16LittleEndian(header.AsSpan(56));
        for (int i = 0; i < count; i++)
        {
            ReadOnlySpan<byte> entry = header.AsSpan((int)BinaryPrimitives.ReadUInt64LittleEndian(header.AsSpan(32)) + (56 * i), 56);
            ulong offset = BinaryPrimitives.ReadUInt64LittleEndian(entry[8..]), address = BinaryPrimitives.ReadUInt64LittleEndian(entry[16..]), size = BinaryPrimitives.ReadUInt64LittleEndian(entry[40..]);
            // The last one, of the vsyscall page, ends with the address space.
            if (edges[0] < address || edges[1] - address > size)
                continue;
            return await guest.MustAsync(string.Create(
                CultureInfo.InvariantCulture, $"dd if=/proc/kcore bs=4096 skip={(edges[0] - address + offset) / 4096} count={(edges[1] - edges[0]) / 4096} 2> /dev/null | md5sum"), Limits.Guest);
        }

        throw new InvalidDataException("/proc/kcore has no segment with the kernel's text");
    }
}

/// <inheritdoc/>
[Collection(nameof(Guest61))]
public sealed class InvisibleTests61(Guest61 guest) : InvisibleTests(guest);

/// <inheritdoc/>
[Collection(nameof(Guest612))]
public sealed class InvisibleTests612(Guest612 guest) : InvisibleTests(guest);
