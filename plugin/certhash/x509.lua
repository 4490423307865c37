-- Reads the subject of a certificate (X.509, DER) in plain Lua: Wireshark's own fields for it may be disabled, which a
-- frame with many certificates requires, and do not say which of several certificates they belong to.

local M = {}

-- Attribute names of RFC 4514, and of the attributes in certificates from Cisco devices.
local NAMES = {
    ["2.5.4.3"] = "CN", ["2.5.4.5"] = "serialNumber", ["2.5.4.6"] = "C", ["2.5.4.7"] = "L", ["2.5.4.8"] = "ST",
    ["2.5.4.10"] = "O", ["2.5.4.11"] = "OU", ["1.2.840.113549.1.9.1"] = "emailAddress",
    ["1.2.840.113549.1.9.2"] = "unstructuredName", ["0.9.2342.19200300.100.1.25"] = "DC",
}
local SEQUENCE, SET, OID, BMP_STRING, VERSION = 0x30, 0x31, 0x06, 0x1e, 0xa0

-- Return the tag of the element at a position, and where its content starts and ends; nil if there is none, or if it
-- extends beyond the end.
local function element(der, at, stop)
    local tag, length = der:byte(at, at + 1)
    if not length or at + 1 > stop then
        return nil
    end
    local from = at + 2
    if length >= 0x80 then
        local count = length - 0x80
        if count == 0 or count > 4 or from + count - 1 > stop then
            return nil
        end
        length = 0
        for i = 0, count - 1 do
            length = length * 256 + der:byte(from + i)
        end
        from = from + count
    end
    if from + length - 1 > stop then
        return nil
    end
    return tag, from, from + length - 1
end

local function oid(der, from, to)
    local parts, value = {}, 0
    for i = from, to do
        local byte = der:byte(i)
        value = value * 128 + byte % 128
        if byte < 128 then
            if #parts == 0 then
                local first = math.min(math.floor(value / 40), 2)
                parts[1], value = ("%d"):format(first), value - first * 40
            end
            parts[#parts + 1], value = ("%.0f"):format(value), 0
        end
    end
    return table.concat(parts, ".")
end

-- Convert a BMPString (two bytes per character) to UTF-8.
local function from_bmp(text)
    return (text:gsub("(.)(.)", function(high, low)
        local code = high:byte() * 256 + low:byte()
        if code < 0x80 then
            return string.char(code)
        elseif code < 0x800 then
            return string.char(0xc0 + math.floor(code / 64), 0x80 + code % 64)
        end
        return string.char(0xe0 + math.floor(code / 4096), 0x80 + math.floor(code / 64) % 64, 0x80 + code % 64)
    end))
end

-- Call a function with the identifier and text of every attribute of a Name; return false if it is damaged.
local function each_attribute(der, from, to, visit)
    while from <= to do
        local set, inner, set_end = element(der, from, to)
        if set ~= SET then
            return false
        end
        while inner <= set_end do
            local pair, at, pair_end = element(der, inner, set_end)
            if pair ~= SEQUENCE then
                return false
            end
            local kind, oid_from, oid_to = element(der, at, pair_end)
            if kind ~= OID then
                return false
            end
            local tag, text_from, text_to = element(der, oid_to + 1, pair_end)
            if not tag then
                return false
            end
            local text = der:sub(text_from, text_to)
            visit(oid(der, oid_from, oid_to), tag == BMP_STRING and from_bmp(text) or text)
            inner = pair_end + 1
        end
        from = set_end + 1
    end
    return true
end

-- Return the attributes of a Name as text: "CN=vpn.example.com, O=Example".
local function name(der, from, to)
    local out = {}
    local whole = each_attribute(der, from, to, function(id, text)
        out[#out + 1] = (NAMES[id] or id) .. "=" .. text
    end)
    return whole and table.concat(out, ", ") or nil
end

-- Return where the signed part of a certificate ends, and where the subject starts and ends; nil if it is not a
-- certificate.
local function parts(der)
    local tag, at, stop = element(der, 1, #der)
    if tag ~= SEQUENCE then
        return nil
    end
    tag, at, stop = element(der, at, stop)  -- the signed part
    if tag ~= SEQUENCE then
        return nil
    end
    local from, to
    tag, from, to = element(der, at, stop)
    if tag == VERSION then
        at = to + 1
    end
    for _ = 1, 5 do  -- serial number, algorithm, issuer, validity, subject
        tag, from, to = element(der, at, stop)
        if not tag then
            return nil
        end
        at = to + 1
    end
    return tag == SEQUENCE and stop or nil, from, to
end

--- Return the unescaped subject of a certificate, or nil if the bytes are not a certificate.
---@param der string
---@return string|nil
function M.subject(der)
    local stop, from, to = parts(der)
    return stop and name(der, from, to) or nil
end

local EXTENSIONS, DNS_NAME, IP_ADDRESS = 0xa3, 0x82, 0x87
local SUBJECT_ALTERNATIVE_NAME = "2.5.29.17"

-- Return the DNS names and addresses in a SEQUENCE of GeneralName (RFC 5280, 4.2.1.6), the value of an extension.
local function general_names(der, from, to, address_text)
    local out = {}
    local tag, at, stop = element(der, from, to)
    while tag and at <= stop do
        local kind, first, last = element(der, at, stop)
        if not kind then
            return nil
        elseif kind == DNS_NAME then
            out[#out + 1] = der:sub(first, last)
        elseif kind == IP_ADDRESS and (last - first == 3 or last - first == 15) then
            out[#out + 1] = address_text(der:sub(first, last))
        end
        at = last + 1
    end
    return tag == SEQUENCE and out or nil
end

-- Return the subject alternative names; false without such an extension, nil if it is damaged.
local function alternative_names(der, at, stop, address_text)
    local tag, from, to
    repeat  -- the public key, unique identifiers
        tag, from, to = element(der, at, stop)
        at = (to or 0) + 1
    until not tag or tag == EXTENSIONS
    if not tag then
        return false
    end
    tag, at, stop = element(der, from, to)
    while tag and at <= stop do
        local pair, inner, pair_end = element(der, at, stop)
        local kind, id_from, id_to = element(der, inner or 1, pair_end or 0)
        if pair ~= SEQUENCE or kind ~= OID then
            return nil
        end
        if oid(der, id_from, id_to) == SUBJECT_ALTERNATIVE_NAME then
            local last, value_from, value_to = element(der, id_to + 1, pair_end)
            if last == 0x01 then  -- whether it is critical
                last, value_from, value_to = element(der, value_to + 1, pair_end)
            end
            return last == 0x04 and general_names(der, value_from, value_to, address_text) or nil
        end
        at = pair_end + 1
    end
    return false
end

--- Return the DNS names and addresses of the subject alternative name; without that extension, the common names (RFC 6125,
-- 6.4.4).  Return nil if the bytes are not a certificate.
---@param der string
---@param address_text fun(bytes: string): string
---@return string[]|nil
function M.names(der, address_text)
    local stop, from, to = parts(der)
    if not stop then
        return nil
    end
    local names = alternative_names(der, to + 1, stop, address_text)
    if names ~= false then
        return names
    end
    local common = {}
    local whole = each_attribute(der, from, to, function(id, text)
        if NAMES[id] == "CN" then
            common[#common + 1] = text
        end
    end)
    return whole and common or nil
end

return M
