using System.Text;
using Panacea.Formats.Orc;
using Panacea.TestKit.Formats;
using Panacea.TestKit.Memory;

namespace Panacea.TestKit.Linux;

/// <summary>A module of a synthetic kernel.</summary>
public sealed class SyntheticModule
{
    /// <summary>Address of its struct module.</summary>
    public required ulong Address { get; init; }

    /// <summary>Name.</summary>
    public required string Name { get; init; }

    /// <summary>Its functions.</summary>
    public required SyntheticText Text { get; init; }

    /// <summary>First address of its text.</summary>
    public required ulong TextStart { get; init; }

    /// <summary>Bytes of its text.</summary>
    public required int TextBytes { get; init; }

    /// <summary>Address of the kernfs_node of its directory in sysfs.</summary>
    public required ulong Directory { get; init; }
}

public sealed partial class SyntheticKernel
{
    private ulong _moduleNext, _kernfsNext = 0x1_0000_0100;

    /// <summary>Loaded modules, as <see cref="Link"/> puts them on the list.</summary>
    public List<SyntheticModule> Modules { get; } = [];

    /// <summary>Adds a module of hand-assembled functions; not on the list before <see cref="Link"/>.</summary>
    /// <param name="name">Name.</param>
    /// <param name="write">Adds its functions; null gives it one, <c>ctm_write</c>, that dies in a NULL write.</param>
    /// <param name="btf">Its split BTF, or null.</param>
    public SyntheticModule AddModule(string name, Action<SyntheticText>? write = null, byte[]? btf = null)
    {
        if (_moduleNext == 0)
            _moduleNext = 0xffff_ffff_c020_0000 + (Options.Kaslr & 0xfff_f000);
        ulong start = _moduleNext;
        var text = new SyntheticText(start) { Outside = n => this[n] };
        (write ?? (t => t.Add("ctm_write", KernelFunctions.NullWrite)))(text);
        byte[] code = text.Build();
        ulong textPages = ((ulong)code.Length + 4095) & ~4095UL;
        Tables.MapRange(start, _modulePhysical, textPages, access: PageAccess.None);
        Tables.MapRange(start + textPages, _modulePhysical + textPages, 0x4000, access: PageAccess.Writable | PageAccess.NoExecute);
        _modulePhysical += textPages + 0x4000;
        _moduleNext += textPages + 0x8000;
        Write(start, code);

        ulong data = start + textPages;
        (string Name, ulong Address)[] functions = [.. text.Functions];
        ulong strtab = data + 0x1000, symtab = data + 0x2000, typetab = data + 0x2800, nameAt = 1;
        for (int i = 0; i < functions.Length; i++)
        {
            ulong symbol = symtab + ((ulong)(i + 1) * 24);
            Write(symbol, [.. BitConverter.GetBytes((uint)nameAt), 0x12, 0, 1, 0, .. BitConverter.GetBytes(functions[i].Address), .. BitConverter.GetBytes((ulong)SyntheticText.SlotBytes)]);
            Write(typetab + (ulong)i + 1, (byte)'t');
            WriteText(strtab + nameAt, functions[i].Name);
            nameAt += (ulong)Encoding.UTF8.GetByteCount(functions[i].Name) + 1;
        }

        ulong directory = data + 0x40, kallsyms = data + 0x100, module = data + 0x200;
        Put(directory, "kernfs_node.id", _kernfsNext++);
        Put(module, "module.mkobj.kobj.sd", directory);
        Put(module, "module.mkobj.mod", module);
        Put(kallsyms, "mod_kallsyms.symtab", symtab);
        Put(kallsyms, "mod_kallsyms.num_symtab", (ulong)functions.Length + 1);
        Put(kallsyms, "mod_kallsyms.strtab", strtab);
        Put(kallsyms, "mod_kallsyms.typetab", typetab);
        WriteText(module + Types.Offset("module.name"), name);
        Put(module, "module.kallsyms", kallsyms);
        Put(module, "module.taints", 1UL << 13);
        PutMemory(module, start, (ulong)code.Length, data);
        var orc = new SyntheticOrc(data + 0x3000, Options.Shape == KernelShape.Linux61 ? OrcVersion.V1 : OrcVersion.V3);
        foreach ((ulong ip, OrcEntry row) in text.Rows)
            orc.Add(ip, row);
        Write(data + 0x3000, orc.BuildIps());
        Write(data + 0x3800, orc.BuildRows());
        Put(module, "module.arch.num_orcs", (ulong)text.Rows.Count);
        Put(module, "module.arch.orc_unwind_ip", data + 0x3000);
        Put(module, "module.arch.orc_unwind", data + 0x3800);
        if (btf is not null)
            AddBtf(module, btf);
        var made = new SyntheticModule { Address = module, Name = name, Text = text, TextStart = start, TextBytes = code.Length, Directory = directory };
        Modules.Add(made);
        return made;
    }

    private void PutMemory(ulong module, ulong start, ulong textBytes, ulong data)
    {
        if (Options.Shape == KernelShape.Linux612)
        {
            ulong mem = module + Types.Offset("module.mem"), element = (ulong)Types.SizeOf("module_memory");
            Put(mem, "module_memory.base", start);
            Put(mem, "module_memory.size", textBytes);
            Put(mem + element, "module_memory.base", data);
            Put(mem + element, "module_memory.size", 0x4000);
            return;
        }

        Put(module, "module.core_layout.base", start);
        Put(module, "module.core_layout.size", data + 0x4000 - start);
        Put(module, "module.core_layout.text_size", data - start);
    }

    private void AddBtf(ulong module, byte[] blob)
    {
        ulong data = Allocate(blob.Length), btf = Allocate(Types.SizeOf("btf")), entry = Allocate(Types.SizeOf("btf_module")), head = this["btf_modules"];
        Write(data, blob);
        Put(btf, "btf.data", data);
        Put(btf, "btf.data_size", (ulong)blob.Length);
        Put(entry, "btf_module.btf", btf);
        Put(entry, "btf_module.module", module);
        WriteU64(entry, ReadU64(head));
        WriteU64(head, entry);
    }

    private void LinkModules() => Ring([this["modules"], .. Modules.Select(m => m.Address + Types.Offset("module.list"))]);
}
