-- The addresses of a packet's innermost header, as bytes: one rule for all who ask who sent a packet.
--
-- Of packets in packets (IPv4 in IPv6, IPv6 in IPv4, GRE, VXLAN and the like) each dissector overwrites the addresses of the
-- one before, so that what Wireshark holds in the end, pinfo.src and pinfo.dst, is the innermost pair.  Asking for fields of
-- IP instead would make Wireshark keep the IP headers of all packets, which is the larger part of what a plugin can cost.
--
-- Lua sees of such an address only its text, which is a name where name resolution is on, and a name may look like another
-- host's address: whoever controls a DNS answer chooses it.  But addresses can be compared, and so the text is believed
-- only where the address that it stands for is equal; otherwise the address is found by comparing, bit by bit.

local M = {}

local MOST_KEPT = 4096

local parse, text_of, literal
local kept, kept_count = {}, 0 -- by text: the address and its bytes

--- Give this module what it builds on.
---@param others { address: table, literal: table } the module address, and Wireshark's constructors of addresses: ip, ipv6
function M.using(others)
    parse, text_of, literal = others.address.parse, others.address.text, others.literal
    kept, kept_count = {}, 0
    return M
end

local function made(bytes)
    return (#bytes == 4 and literal.ip or literal.ipv6)(text_of(bytes))
end

-- The bytes of the address, of that many bytes, that is equal to a given one; nil where none is.
local function searched(address, size)
    local found = {}
    for i = 1, size do
        found[i] = "\0"
    end
    for i = 1, size do
        local low, high = 0, 255
        while low < high do
            local middle = math.floor((low + high + 1) / 2)
            found[i] = string.char(middle)
            if made(table.concat(found)) <= address then
                low = middle
            else
                high = middle - 1
            end
        end
        found[i] = string.char(low)
    end
    local bytes = table.concat(found)
    return made(bytes) == address and bytes or nil
end

--- The 4 or 16 bytes of one of Wireshark's addresses; its text where it is of another kind (a hardware address).
---@param address userdata
---@return string bytes
function M.bytes(address)
    local text = tostring(address)
    local known = kept[text]
    if known and known.address == address then
        return known.bytes
    end
    local bytes = parse(text)
    if not bytes or made(bytes) ~= address then
        bytes = searched(address, 4) or searched(address, 16) or text
    end
    if kept_count >= MOST_KEPT then
        kept, kept_count = {}, 0
    end
    kept[text], kept_count = { address = address, bytes = bytes }, kept_count + 1
    return bytes
end

--- The addresses of a packet, source and target.
function M.ends(pinfo)
    return M.bytes(pinfo.src), M.bytes(pinfo.dst)
end

return M
